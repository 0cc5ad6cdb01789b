"""How many programs JAX compiles."""

from collections.abc import Callable

import jax.monitoring


def num_compiled(run: Callable[[], object]) -> int:
    """The number of programs that are compiled while `run` runs."""
    durations: list[float] = []

    def listen(event: str, duration: float, **_: str | int) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            durations.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        run()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    return len(durations)
