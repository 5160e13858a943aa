"""The whole loop: `ros2 launch karpathy_control bringup.launch.py world:=mujoco|gazebo|robot`.

Everything is decided in karpathy_control.bringup.plan; here specs only become actions.
"""

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import Action, LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from karpathy_control.bringup.dds import domain_of, first_port
from karpathy_control.bringup.plan import ARGUMENTS, IncludeSpec, NodeSpec, plan
from karpathy_control.bringup.shared_memory import bury


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(a.name, default_value=a.default, description=a.help,
                              choices=list(a.choices) or None) for a in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=actions)])


def actions(context: LaunchContext) -> list[Action]:
    what = plan({a.name: LaunchConfiguration(a.name).perform(context) for a in ARGUMENTS})
    folder = Path(launch_config.log_dir)  # parameter files beside the logs of this run
    for path, text in what.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    discovery = first_port(domain_of({**context.environment, **what.environment}))
    return [*(SetEnvironmentVariable(*item) for item in what.environment.items()),
            RegisterEventHandler(OnProcessExit(on_exit=[
                OpaqueFunction(function=clear, args=[discovery])])),
            *(include(spec) for spec in what.includes),
            *(node(spec, folder) for spec in what.nodes)]


def include(spec: IncludeSpec) -> Action:
    path = Path(get_package_share_directory(spec.package)) / spec.launch_file
    return IncludeLaunchDescription(PythonLaunchDescriptionSource(str(path)),
                                    launch_arguments=list(spec.arguments.items()))


def node(spec: NodeSpec, folder: Path) -> Action:
    if spec.optional:
        try:
            get_package_share_directory(spec.package)
        except PackageNotFoundError:
            return LogInfo(msg=f'{spec.package} is not installed; going on without it')
    file = folder / f'{spec.process}.yaml'
    file.parent.mkdir(exist_ok=True)
    file.write_text(spec.parameter_yaml())
    return Node(package=spec.package, executable=spec.executable, name=spec.node_name,
                namespace=spec.namespace, parameters=[str(file)] if spec.parameters else None,
                remappings=list(spec.remappings), arguments=list(spec.arguments),
                ros_arguments=['--enclave', spec.enclave],
                respawn=spec.respawn, respawn_delay=spec.respawn_delay, output='both',
                on_exit=[OpaqueFunction(function=end, args=[spec.process])] if spec.required
                else None)


def clear(context: LaunchContext, discovery: int) -> None:
    if not context.is_shutdown:
        bury(discovery)


def end(context: LaunchContext, name: str) -> None:
    if not context.is_shutdown:  # an exception, unlike Shutdown, makes ros2 launch exit non-zero
        raise RuntimeError(f'{name} ended, and nothing runs without it')
