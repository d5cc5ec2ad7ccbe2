"""Minutes from a bare machine to its first session, with one command."""

from __future__ import annotations

from benchmarks._figure import Figure, measure, say
from benchmarks._vm import bare_machine, install_command


def main() -> None:
    """Install once, and launch the example."""
    with bare_machine() as (vm, wheel):
        say("putting the program on the machine")
        commands = list[str]()
        program = measure(lambda: commands.append(install_command(vm, wheel)))
        say("binderlet install")
        install = measure(lambda: vm.must(commands[0], timeout=1800))
        first = measure(lambda: vm.must("binderlet check"))
        again = measure(lambda: vm.must(commands[0]))
        vm.must("binderlet uninstall --keep-images")
    seconds = {"program_s": program, "install_s": install, "first_session_s": first, "install_again_s": again}
    detail = {"steps": len(commands), **{name: round(value, 1) for name, value in seconds.items()}}
    Figure("install", (program + install + first) / 60, None, "minutes", 1, detail).print()


if __name__ == "__main__":
    main()
