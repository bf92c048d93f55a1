"""The configs and suites that come with vitkit."""

from pathlib import Path


def bundled_suites() -> dict[str, Path]:
    """Name and file of every suite in ``configs/suites``."""
    return bundled_configs("suites")


def bundled_configs(kind: str) -> dict[str, Path]:
    """Name and file of every config in a folder of ``configs``, of the installed package or of the checkout."""
    package = Path(__file__).parents[1]
    folders = [package / "configs" / kind, package.parent / "configs" / kind]
    folder = next((folder for folder in folders if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}
