"""Kernels that every transform is tried with: each set of sizes on all of 1 to 3 axes, and unlike axes."""

from crosstile.winograd_nested_plan import AXIS_SIZES
from crosstile.winograd_network import Kernel

__all__ = ["ACTIVATIONS", "FEW", "MIXED", "UNIFORM", "Kernel"]

UNIFORM: list[Kernel] = [(sizes,) * axes for axes in (1, 2, 3) for sizes in AXIS_SIZES]
UNLIKE: list[Kernel] = [
    *zip(AXIS_SIZES, AXIS_SIZES[3:] + AXIS_SIZES[:3], strict=True),
    ((3,), (2,), (3, 2)), ((2, 1), (1,), (3,)), ((3, 2), (2,), (3, 1)),
]  # fmt: skip
MIXED = UNIFORM + UNLIKE
FEW = [*UNIFORM[: len(AXIS_SIZES)], *UNLIKE, ((3, 2, 1),) * 3]
"""Every set of sizes once along one axis, and once beside another."""
ACTIVATIONS = [kernel for kernel in MIXED if not any(sizes[0] == 2 for sizes in kernel)]
"""Those whose activation transforms differ: 2 is as 3."""
