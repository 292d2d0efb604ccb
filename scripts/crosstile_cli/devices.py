"""Devices by name, and what they hold."""

from crosstile.network_plan import NetworkPlan
from crosstile_golden.errors import CrosstileError
from crosstile_golden.network import IntegerNetwork

from .compile_command import Mapping

# 18×18 or wider multipliers, from the makers' family data sheets.
DEVICE_MULTIPLIERS = {
    "ecp5-12k": 28, "ecp5-25k": 28, "ecp5-45k": 72, "ecp5-85k": 156,
    "ice40-up5k": 8,
    "xc7a35t": 90, "xc7a100t": 240, "xc7z020": 220,
}


def check_device(mapping: Mapping, device: str | None) -> Mapping:
    """Return the mapping, refused where its multipliers exceed the device's.

    Raises `CrosstileError` for an unknown device, at once.
    """
    if device is None:
        return mapping
    if device not in DEVICE_MULTIPLIERS:
        raise CrosstileError(f"--device must be one of {', '.join(DEVICE_MULTIPLIERS)}, not {device!r}")

    def checked(network: IntegerNetwork) -> NetworkPlan:
        plan = mapping(network)
        if plan.multipliers > DEVICE_MULTIPLIERS[device]:
            raise CrosstileError(
                f"--device {device} has {DEVICE_MULTIPLIERS[device]} multipliers, the mapping uses "
                f"{plan.multipliers}; give fewer --multipliers"
            )
        return plan

    return checked
