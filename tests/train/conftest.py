"""All tests of the trainer need PyTorch. Without it, they are not collected."""

from importlib.util import find_spec
from pathlib import Path

import pytest

collect_ignore_glob = [] if find_spec("torch") else ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.torch)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight images, 160 x 128."""
    from small_training import save_images  # needs PyTorch

    return save_images(tmp_path_factory.mktemp("images"), 8, 160, 128)
