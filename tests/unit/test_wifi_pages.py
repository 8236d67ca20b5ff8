"""What the Wi-Fi pages tell to write into config.toml is read as it stands."""

import re
from pathlib import Path

import pytest

from edgegate.config import load_config

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("page", ["wifi-installer.md", "behind-freeradius.md"])
def test_a_page_s_configuration_is_read(page: str, tmp_path: Path) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```toml\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    assert "[[wifi.nas]]" in blocks
    for name in ("site.key", *re.findall(r"/etc/edgegate/([\w.-]+)", blocks)):
        (tmp_path / name).write_bytes(b"5" * 48)
        (tmp_path / name).chmod(0o600)
    wifi = blocks if "[wifi]" in blocks else f"[wifi]\n{blocks}"
    file = tmp_path / "config.toml"
    file.write_text(
        f'[device]\nid = "gate"\nstate_dir = "{tmp_path}"\n'
        f'[site]\nid = "loft"\nkey = {{ file = "{tmp_path}/site.key" }}\n'
        + wifi.replace("/etc/edgegate", str(tmp_path)),
        encoding="utf-8",
    )
    section = load_config(file).wifi
    assert section is not None
    assert list(section.warnings()) == []
