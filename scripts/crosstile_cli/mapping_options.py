"""What the options of compile say about the mapping."""

from typing import Any

from crosstile.layer_plan import ARCHITECTURES
from crosstile.mapper import ENGINES, Options
from crosstile.stages import LINKS
from crosstile.winograd_numbers import WEIGHT_STORES
from crosstile_golden.errors import CrosstileError

NOT_RUN = {  # by an engine, and why
    "winograd": "a kernel that covers its whole input, or has one tap, has no tiles",
    "reuse": "it takes no groups",
}


def supported(option: str, value: str, legal: tuple[str, ...]) -> None:
    """Raise `CrosstileError` for a value that is not legal."""
    if value not in legal:
        raise CrosstileError(f"{option} must be {' or '.join(legal)}, not {value!r}")


def mapping_options(
    engine: str, architecture: str, weights: str, links: str, pooling: str, steering: str, winograd_weights: str,
    rows_at_once: bool,
) -> Options:
    """Return the options of the mapper.

    Raises `CrosstileError` for a value that is not legal, or options that exclude each other.
    """
    supported("--engine", engine, ("auto", *ENGINES))
    supported("--architecture", architecture, ("auto", *ARCHITECTURES))
    supported("--weights", weights, ("fixed", "loadable"))
    supported("--links", links, LINKS)
    supported("--pooling", pooling, ("local", "after"))
    supported("--steering", steering, ("chain", "computed", "stored"))
    supported("--winograd-weights", winograd_weights, WEIGHT_STORES)
    own = {"--architecture": architecture != "auto", "--weights": weights != "fixed", "--steering": steering != "chain"}
    given = [option for option, chosen in own.items() if chosen]
    if engine not in ("auto", "crosspoint") and given:
        raise CrosstileError(f"{given[0]} is an option of crosspoint engines; leave it out, or give --engine auto")
    engines = None if engine == "auto" else (engine,)
    architectures = ARCHITECTURES if architecture == "auto" else (architecture,)
    return Options(
        engines, architectures, winograd_weights, weights == "loadable", links, pooling, rows_at_once, steering
    )


def notices(options: Options, stages: list[dict[str, Any]]) -> list[str]:
    """Return what the user should know of options that did not do what they seem to ask for."""
    found = []
    convolutions = [stage for stage in stages if stage["kind"] == "convolution"]
    if options.rows_at_once and all(stage["rows_at_once"] == 1 for stage in convolutions):
        found.append(
            "--rows-at-once changes nothing: no pool whose windows lie side by side follows a convolution that "
            "computes its kernel rows together; give more --multipliers, or --architecture steered"
        )
    if options.engines and "crosspoint" not in options.engines:
        others = [stage["name"] for stage in convolutions if stage["engine"] not in options.engines]
        if others:
            engine = options.engines[0]
            found.append(f"--engine {engine}: {', '.join(others)} run on crosspoint engines: {NOT_RUN[engine]}")
    if options.steering != "chain" and all(stage.get("steering") != options.steering for stage in convolutions):
        found.append(
            f"--steering {options.steering} changes nothing: no layer computes its kernel rows together; "
            "give more --multipliers"
        )
    return found
