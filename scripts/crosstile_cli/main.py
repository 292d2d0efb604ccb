"""The command line: crosstile COMMAND ... ; exit 0 on success, 1 on a bad result, 2 on a bad request."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from crosstile import __version__
from crosstile_golden.errors import CrosstileError
from rich.console import Console

from .console import progress, show

app = typer.Typer(
    name="crosstile", no_args_is_help=True, add_completion=False, rich_markup_mode="markdown",
    help="Turn a trained convolutional network (float ONNX) into synthesizable Verilog, proved bit-exact.",
    pretty_exceptions_enable=False,
)

Build = Annotated[Path, typer.Argument(metavar="BUILD", help="a folder that crosstile compile made")]
Json = Annotated[bool, typer.Option("--json", help="print the result as JSON")]
Input = Annotated[Path, typer.Option("--input", metavar="X.npy", help="frames as in ONNX: NCHW or NCW, real values")]
Output = Annotated[Path | None, typer.Option("--output", metavar="Y.npy", help="where to write the integer outputs")]

# Of Typer's own copy of click, or of click, whichever this Typer stands on.
UsageError: Any = typer.BadParameter.__base__

INTERRUPTED = 130  # what a shell gives a command that SIGINT ended, and Typer with it

SCHEMES = ("shift",)


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="print the version")] = False) -> None:
    """Hold what is common to all commands."""
    if version:
        print(f"crosstile {__version__}")
        raise typer.Exit


@app.command("compile")
def compile_command(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="a trained float network")],
    calibrate: Annotated[Path, typer.Option(metavar="DATA", help="typical frames, .npy or .npz")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="BUILD", help="folder to write")],
    name: Annotated[str | None, typer.Option(help="top module; the model's file name if not given")] = None,
    scheme: Annotated[str, typer.Option(help="quantisation: shift")] = "shift",
    weight_bits: Annotated[int, typer.Option(help="2 to 16")] = 8,
    activation_bits: Annotated[int, typer.Option(help="4 to 16")] = 8,
    engine: Annotated[
        str, typer.Option(help="auto: the faster of crosspoint and winograd, layer by layer; or one of these; or reuse")
    ] = "auto",
    multipliers: Annotated[
        int | None, typer.Option(help="in all layers together; if not given, one per kernel column of each layer")
    ] = None,
    frames_per_second: Annotated[float | None, typer.Option(help="use the fewest multipliers that reach it")] = None,
    clock: Annotated[float | None, typer.Option(metavar="MHZ", help="with --frames-per-second")] = None,
    device: Annotated[str | None, typer.Option(help="check the multipliers against a device, e.g. ecp5-85k")] = None,
    architecture: Annotated[
        str, typer.Option(help="auto, steered (partial sums are kept) or buffered (activations are kept)")
    ] = "auto",
    weights: Annotated[str, typer.Option(help="fixed in the Verilog, or loadable through an AXI4-Lite port")] = "fixed",
    orientation: Annotated[str, typer.Option(help="rows or columns first in the streams")] = "rows",
    links: Annotated[str, typer.Option(help="between layers: digits, or durations of pulses")] = "digits",
    pooling: Annotated[str, typer.Option(help="local: before sending; after: in the next layer's lanes")] = "local",
    steering: Annotated[
        str, typer.Option(help="of kernel rows computed together: chain, or a controller's computed or stored mode")
    ] = "chain",
    rows_at_once: Annotated[
        bool, typer.Option("--rows-at-once", help="all rows of a pool's window leave together: no row is stored")
    ] = False,
    winograd_weights: Annotated[
        str, typer.Option(help="of Winograd engines: kept transformed, or raw and transformed on their way")
    ] = "transformed",
    as_json: Json = False,
) -> None:
    """Compile a model to Verilog.

    Example: `crosstile compile digits.onnx --calibrate calibration.npy -o build/digits --multipliers 64`
    """
    from .compile_command import choose_mapping, compile_model
    from .devices import check_device
    from .mapping_options import mapping_options, notices, supported

    supported("--scheme", scheme, SCHEMES)
    supported("--orientation", orientation, ("rows", "columns"))
    options = mapping_options(
        engine, architecture, weights, links, pooling, steering, winograd_weights, rows_at_once
    )
    mapping = check_device(choose_mapping(multipliers, frames_per_second, clock, options), device)
    report = compile_model(model, calibrate, output, name, weight_bits, activation_bits, mapping, orientation)
    report["notices"] += notices(options, report["stages"])
    for notice in report["notices"]:
        print(f"notice: {notice}", file=sys.stderr)
    show(report if as_json else {"build": str(output), **report}, as_json)


@app.command()
def run(build: Build, input_path: Input, output: Output = None, as_json: Json = False) -> None:
    """Run the integer golden network: fast, no simulator.

    Example: `crosstile run build/digits --input images.npy --output logits.npy`
    """
    from .arrays import check_writable, read_array, write_array
    from .build_folder import BuildFolder

    network = BuildFolder.open(build).network()
    check_writable(output)
    with progress("running the golden network"):
        outputs = network.run(network.quantise_input(read_array(input_path, "--input")))
    if output is not None:
        write_array(outputs, output)
    show({"frames": len(outputs), "output_shape": str(outputs.shape), "output_scale": network.output_scale}, as_json)


@app.command()
def simulate(
    build: Build,
    input_path: Input,
    output: Output = None,
    simulator: Annotated[str, typer.Option(help="verilator, icarus or amaranth")] = "verilator",
    stall: Annotated[float, typer.Option(metavar="P", help="probability that source and sink hold back")] = 0.0,
    seed: Annotated[int, typer.Option(help="of the stalls")] = 0,
    waves: Annotated[Path | None, typer.Option(metavar="FILE", help="write waves, .vcd or .fst")] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="BUILD", help="a training to load first: that of another loadable build")
    ] = None,
    as_json: Json = False,
) -> None:
    """Run the emitted Verilog and compare every output with golden; exit 1 on any mismatch.

    Example: `crosstile simulate build/digits --input images.npy --simulator icarus --stall 0.3`
    """
    from .arrays import check_writable, read_array, write_array
    from .build_folder import BuildFolder
    from .simulate_command import simulate_build

    folder = BuildFolder.open(build)
    check_writable(output)
    other = BuildFolder.open(weights) if weights is not None else None
    frames = read_array(input_path, "--input")
    outputs, record = simulate_build(folder, frames, simulator, stall, seed, waves, other)
    folder.add_to_report("simulation", record)
    if output is not None and outputs is not None:
        write_array(outputs, output)
    show(record, as_json)
    if record["problems"]:
        print(f"crosstile: {record['problems'][0]}", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def synthesize(
    build: Build,
    target: Annotated[str, typer.Option(help="ecp5, ice40, xilinx, gowin, intel or generic")] = "ecp5",
    place: Annotated[bool, typer.Option("--place", help="place and route too, for the clock (ecp5)")] = False,
    seed: Annotated[list[int] | None, typer.Option(help="of the placer; given several times, the median")] = None,
    as_json: Json = False,
) -> None:
    """Count cells with Yosys, and with --place find the clock with nextpnr.

    Example: `crosstile synthesize build/digits --target ecp5 --place`
    """
    from .build_folder import BuildFolder
    from .synthesize_command import synthesize_build

    folder = BuildFolder.open(build)
    record = synthesize_build(folder, target, place, seed or [1])
    folder.add_to_report("synthesis", record)
    show(record, as_json)


@app.command()
def generate(
    block: Annotated[str | None, typer.Argument(metavar="BLOCK", help="a building block; see --list")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="a parameter; may be repeated")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.v", help="file to write")] = None,
    name: Annotated[str | None, typer.Option(help="top module; made of the block's name if not given")] = None,
    listing: Annotated[bool, typer.Option("--list", help="show the blocks, or BLOCK, with their parameters")] = False,
    as_json: Json = False,
) -> None:
    """Write one building block as Verilog, for another project's flow.

    Example: `crosstile generate pool --set kind=max --set channels=8 --set size=32x32 --set window=2 -o pool.v`
    """
    from .generate_command import block_records, generate_block, show_blocks

    if listing:
        print(json.dumps(block_records(block), indent=2)) if as_json else show_blocks(block)
        return
    if block is None:
        raise CrosstileError("name a BLOCK; see the blocks and their parameters with: crosstile generate --list")
    if output is None:
        raise CrosstileError("give a file to write: -o FILE.v")
    record = generate_block(block, settings or [], output, name)
    show(record if as_json else {**record, **record["figures"]}, as_json)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Tell which tools are found, which version, and how to get the rest.

    Example: `crosstile doctor`
    """
    from .doctor import doctor as look
    from .doctor import tool_table

    tools = look()
    if as_json:
        print(json.dumps([{**asdict(tool), "path": str(tool.path or "") or None} for tool in tools], indent=2))
    else:
        Console().print(tool_table(tools))


def main(arguments: list[str] | None = None) -> None:
    """Run a command; every error a user can cause is one line on stderr and exit 2."""
    code: Any = 0
    try:
        code = app(arguments, standalone_mode=False, prog_name="crosstile") or 0
    except CrosstileError as error:
        print(f"crosstile: {error}", file=sys.stderr)
        code = 2
    except UsageError as error:
        message = error.format_message().rstrip(".")
        if message:  # none where no command was given: then the help was shown
            hint = error.ctx.command_path if error.ctx else "crosstile"
            print(f"crosstile: {message}; see: {hint} --help", file=sys.stderr)
        code = 2
    except OSError as error:
        print(f"crosstile: {error.filename or 'output'}: {error.strerror or error}", file=sys.stderr)
        code = 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    if code == INTERRUPTED:
        print("crosstile: stopped", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
