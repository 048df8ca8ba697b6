"""The table of mutants, from what mutmut leaves."""

import json

from tools.mutants import count, table


def test_what_no_test_noticed_is_counted(tmp_path):
    (tmp_path / "data").mkdir()
    codes = {"a": 1, "b": 0, "c": 36, "d": 33}  # noticed, not noticed, never ended, no test comes there
    (tmp_path / "data" / "labels.py.meta").write_text(json.dumps({"exit_code_by_key": codes}))
    (tmp_path / "empty.py.meta").write_text(json.dumps({"exit_code_by_key": {}}))
    found = count(tmp_path)
    assert found == {"data/labels.py": {"a": "killed", "b": "survived", "c": "timeout", "d": "no tests"}}
    assert table(found)[2:] == ["| data/labels.py | 4 | 2 | 50% |", "| all | 4 | 2 | 50% |"]
