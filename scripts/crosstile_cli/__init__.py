"""The commands: compile, run, simulate, synthesize, generate, doctor."""
