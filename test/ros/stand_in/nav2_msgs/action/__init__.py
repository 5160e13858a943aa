"""A stand-in for nav2_msgs, which is no wheel: NavigateToPose without its generated code.

rclpy's action server and client, librcl_action and DDS are the real ones. What is not is the
format on the wire: each message of the action travels as JSON in the string of AddDiagnostics of
diagnostic_msgs (goal and result) or String of std_msgs (feedback), whose type supports are put
together here to that of an action. So both ends must be this module; a real client is not heard.
"""

import ctypes
import json

from action_msgs.msg import GoalStatusArray
from action_msgs.srv import CancelGoal
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.srv import AddDiagnostics
from geometry_msgs.msg import PoseStamped
from std_msgs.msg import String
from unique_identifier_msgs.msg import UUID

api = ctypes.pythonapi
api.PyCapsule_New.restype = ctypes.py_object
api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
api.PyCapsule_GetPointer.restype = ctypes.c_void_p
api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
FROM_PY = ctypes.PYFUNCTYPE(ctypes.c_bool, ctypes.py_object, ctypes.c_void_p)
TO_PY = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)
OF_TYPE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
kept = []  # what C holds pointers to


def pointer(capsule):
    return api.PyCapsule_GetPointer(capsule, None)


def capsule(callback):
    kept.append(callback)
    return api.PyCapsule_New(ctypes.cast(callback, ctypes.c_void_p), None, None)


def fields(cls):
    """Name -> factory of the fields of a message class of this module."""
    return {name: kind for name, kind in vars(cls).items() if isinstance(kind, type)}


def plain(value):
    """What JSON takes of a message."""
    if hasattr(value, 'get_fields_and_field_types'):
        return {name: plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, Message):
        return {name: plain(getattr(value, name)) for name in fields(type(value))}
    return value if isinstance(value, (str, bool, int, float)) else [int(v) for v in value]


def fill(message, values):
    """The message with what JSON brought."""
    for name, value in values.items():
        setattr(message, name, fill(getattr(message, name), value)
                if isinstance(value, dict) else value)
    return message


def carried(name, carrier, field, **parts):
    """A message class with `parts` that travels as JSON in one string of `carrier`."""
    meta = type(carrier)
    if meta._TYPE_SUPPORT is None:
        meta.__import_type_support__()
    write, read = FROM_PY(pointer(meta._CONVERT_FROM_PY)), TO_PY(pointer(meta._CONVERT_TO_PY))

    def from_py(message, target):
        return write(carrier(**{field: json.dumps(plain(message))}), target)

    def to_py(source):
        return fill(cls(), json.loads(getattr(read(source), field) or '{}'))

    own = type(f'Meta{name}', (type,), {
        '_CREATE_ROS_MESSAGE': meta._CREATE_ROS_MESSAGE,
        '_DESTROY_ROS_MESSAGE': meta._DESTROY_ROS_MESSAGE,
        '_TYPE_SUPPORT': meta._TYPE_SUPPORT,
        '_CONVERT_FROM_PY': capsule(FROM_PY(from_py)), '_CONVERT_TO_PY': capsule(TO_PY(to_py))})
    cls = own(name, (Message,), parts)
    return cls


class Message:
    """Attributes as in a generated message: each has the default of its type."""

    def __init__(self, **values):
        for name, kind in fields(type(self)).items():
            setattr(self, name, values.get(name, kind()))


class Goal(Message):
    pose = PoseStamped
    behavior_tree = str


class Result(Message):
    error_code = int
    error_msg = str


class Feedback(Message):
    current_pose = PoseStamped
    navigation_time = Duration
    estimated_time_remaining = Duration
    number_of_recoveries = int
    distance_remaining = float


class SendGoal:
    Request = carried('Request', AddDiagnostics.Request, 'load_namespace', goal_id=UUID, goal=Goal)
    Response = carried('Response', AddDiagnostics.Response, 'message', accepted=bool, stamp=Time)


class GetResult:
    Request = carried('Request', AddDiagnostics.Request, 'load_namespace', goal_id=UUID)
    Response = carried('Response', AddDiagnostics.Response, 'message', status=int, result=Result)


def action_type_support():
    """A rosidl_action_type_support_t made of those of services and messages."""
    supports = []
    for kind in (AddDiagnostics, AddDiagnostics, CancelGoal, String, GoalStatusArray):
        if type(kind)._TYPE_SUPPORT is None:
            type(kind).__import_type_support__()
        supports.append(pointer(type(kind)._TYPE_SUPPORT))
    # The last three of the eleven words of a rosidl_service_type_support_t tell its hash,
    # description and sources; those of the action are asked for in the same way.
    service = supports[0]
    words = (ctypes.c_void_p * 11).from_address(service)
    for address in words[8:]:
        ask = OF_TYPE(address)
        answer = OF_TYPE(lambda _, ask=ask: ask(service))
        kept.append(answer)
        supports.append(ctypes.cast(answer, ctypes.c_void_p).value)
    support = (ctypes.c_void_p * 8)(*supports)
    kept.append(support)
    return api.PyCapsule_New(ctypes.addressof(support), None, None)


class MetaNavigateToPose(type):
    _TYPE_SUPPORT = action_type_support()


class NavigateToPose(metaclass=MetaNavigateToPose):
    """As nav2_msgs has it from Kilted on, less the tracking errors."""

    Goal, Result, Feedback = Goal, Result, Feedback

    class Impl:
        SendGoalService, GetResultService = SendGoal, GetResult
        FeedbackMessage = carried('FeedbackMessage', String, 'data', goal_id=UUID,
                                  feedback=Feedback)
        CancelGoalService, GoalStatusMessage = CancelGoal, GoalStatusArray
