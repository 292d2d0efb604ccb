"""The demonstration: from the float digits network to proved, synthesised Verilog, and one table."""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from crosstile_cli.build_folder import BuildFolder
from crosstile_cli.compile_command import choose_mapping, compile_model
from crosstile_cli.console import progress
from crosstile_cli.simulate_command import simulate_build
from crosstile_cli.synthesize_command import synthesize_build
from crosstile_golden.errors import CrosstileError
from data import write as write_data
from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
MULTIPLIERS = 64
FRAMES = 64


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    return float((logits.argmax(axis=1) == labels).mean())


def demonstrate(output: Path) -> dict[str, object]:
    """Run everything; return the figures of the table."""
    with progress("writing the digits"):
        write_data(output / "data")
    images = np.load(output / "data" / "heldout_images.npy")
    labels = np.load(output / "data" / "heldout_labels.npy")
    session = onnxruntime.InferenceSession(HERE / "digits.onnx", providers=["CPUExecutionProvider"])
    float_logits = session.run(None, {session.get_inputs()[0].name: images})[0]
    calibration = output / "data" / "calibration.npy"
    mapping = choose_mapping(MULTIPLIERS, None, None)
    report = compile_model(HERE / "digits.onnx", calibration, output / "digits", None, 8, 8, mapping)
    build = BuildFolder.open(output / "digits")
    network = build.network()
    integer_logits = network.run(network.quantise_input(images))
    _, simulation = simulate_build(build, images[:FRAMES], "verilator", 0.0, 0, None)
    build.add_to_report("simulation", simulation)
    synthesis = synthesize_build(build, "ecp5", place=False, seeds=[])
    build.add_to_report("synthesis", synthesis)
    timing = build.plan().timing(FRAMES)
    return {
        "float accuracy": accuracy(float_logits, labels),
        "integer accuracy": accuracy(integer_logits, labels),
        "held-out images": len(images),
        "images simulated": simulation["frames"],
        "logits compared": simulation["outputs_compared"],
        "mismatches": simulation["mismatches"],
        "cycles per image, predicted": timing.cycles / FRAMES,
        "cycles per image, simulated": simulation["cycles"] / FRAMES,
        "cycles between images, steady": report["cycles_per_frame"],
        "multipliers": report["multipliers"],
        "LUTs (ECP5 LUT4)": synthesis["luts"],
        "flip-flops": synthesis["ffs"],
        "DSPs": synthesis["dsps"],
        "block RAMs": synthesis["brams"],
        "problems": simulation["problems"],
    }


def text(name: str, value: object) -> str:
    if isinstance(value, float):
        return f"{value:.1%}" if "accuracy" in name else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def main() -> int:
    output = Path(sys.argv[1] if len(sys.argv) > 1 else "build")
    try:
        figures = demonstrate(output)
    except CrosstileError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    problems = figures.pop("problems")
    table = Table(title="Handwritten digits, from float ONNX to proved Verilog", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in figures.items():
        table.add_row(name, text(name, value))
    Console().print(table)
    print(f"Verilog: {output}/digits/verilog/digits.v\nReport:  {output}/digits/report.html")
    (output / "demo.json").write_text(json.dumps(figures, indent=2) + "\n")
    for problem in problems if isinstance(problems, list) else []:
        print(f"demo: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
