from typing import Any

def kernels() -> list[str]: ...
def run(
    kernel: str,
    stages: Any,
    layers: Any,
    shapes: Any,
    constants: Any,
    gains: Any,
    progress: Any,
    buffers: tuple[Any, ...],
    rows: int,
    columns: int,
    share: int,
) -> None: ...
