"""ROS parameters from a typed configuration: declaration, refusal of the unknown, live changes."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from karpathy_control.contracts.config import (
    ConfigError,
    ParameterSpec,
    from_mapping,
    specs,
    to_mapping,
)

T = TypeVar('T')

# Parameters that rclpy itself declares.
_OF_RCLPY = ('use_sim_time', 'start_type_description_service', 'qos_overrides.')
_BIG = 1e18


def _descriptor(spec: ParameterSpec) -> ParameterDescriptor:
    """Description, unit and range of one parameter as ROS tools show them."""
    unit = f' [{spec.unit}]' if spec.unit else ''
    descriptor = ParameterDescriptor(
        description=spec.description + unit,
        additional_constraints=f'takes {spec.accepted}; '
                               + ('live' if spec.live else 'only before activation'))
    low = -_BIG if spec.minimum is None else spec.minimum
    high = _BIG if spec.maximum is None else spec.maximum
    ranged = spec.minimum is not None or spec.maximum is not None
    if ranged and spec.type is float:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    elif ranged and spec.type is int:
        descriptor.integer_range = [
            IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor


class NodeParameters(Generic[T]):
    """The parameters of one node; `config` is always a checked configuration."""

    def __init__(self, node: Node, kind: type[T]) -> None:
        """Declare all and read the overrides. ConfigError where one is unknown or refused."""
        self._kind = kind
        self._specs = {spec.name: spec for spec in specs(kind)}
        overrides: dict[str, Any] = {
            name: value.value for name, value in node._parameter_overrides.items()
            if not name.startswith(_OF_RCLPY)}
        self.config: T = from_mapping(kind, overrides)
        for spec in self._specs.values():
            if spec.type is float and isinstance(overrides.get(spec.name), int):
                # YAML writes 1 where 1.0 is meant; ROS would refuse the type.
                node._parameter_overrides[spec.name] = Parameter(
                    spec.name, Parameter.Type.DOUBLE, float(overrides[spec.name]))
            try:
                node.declare_parameter(spec.name, spec.default, _descriptor(spec))
            except (InvalidParameterTypeException, InvalidParameterValueException) as error:
                raise ConfigError(f'{spec.name}: {error}; it takes {spec.accepted}') from error

    def widened(self, parameters: list[Parameter]) -> list[Parameter]:
        """The same with integers as floats where floats are taken: people type 1 for 1.0."""
        return [Parameter(p.name, Parameter.Type.DOUBLE, float(p.value))
                if p.type_ is Parameter.Type.INTEGER and p.name in self._specs
                and self._specs[p.name].type is float else p for p in parameters]

    def check(self, parameters: list[Parameter], active: bool) -> SetParametersResult:
        """Whether a set request is accepted; changes nothing."""
        fixed = [p.name for p in parameters
                 if p.name in self._specs and not self._specs[p.name].live]
        if active and fixed:
            return SetParametersResult(successful=False, reason=(
                f'{fixed[0]} cannot change while the node is active; deactivate it first'))
        try:
            self._with(parameters)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def take(self, parameters: list[Parameter]) -> list[str]:
        """Put a checked request in force; what it changed, as `name: old -> new`."""
        old = to_mapping(self.config)
        self.config = self._with(parameters)
        return [f'{p.name}: {old[p.name]!r} -> {p.value!r}' for p in parameters if p.name in old]

    def _with(self, parameters: list[Parameter]) -> T:
        changes = {p.name: p.value for p in parameters if p.name in self._specs}
        return from_mapping(self._kind, {**to_mapping(self.config), **changes})
