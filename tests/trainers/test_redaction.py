"""Passwords of databases are shown nowhere, and text of strangers moves no cursor."""

import sys

import pytest

from trainers.command import command
from trainers.errors import UserError
from trainers.redaction import without_passwords
from trainers.visible import for_terminal


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://ann:hunter2@db/slimfront",
        "storage: postgresql+psycopg2://ann:hunter2@db:5432/x?sslmode=require",
        "(postgres://ann:hun/ter2@db/x) failed",
        "'postgresql://ann:hunter2:@ter2@db'",
        "postgresql://:hunter2@db/x",
        "POSTGRESQL://ann:hunter2@[::1]:5432/x",
        "postgresql://db/x?user=ann&password=hunter2&x=1",
        "host=db user=ann password=hunter2 dbname=x",
        "host=db password = 'hunter2 ter2' dbname=x",
        '{"password": "hunter2"}',
        "create_engine(url, password='hunter2')",
        "mysql://a:hunter2@x and redis://:hunter2@y",
    ],
)
def test_passwords_are_taken_out_and_the_rest_stays(text):
    shown = without_passwords(text)
    assert "ter2" not in shown and "***" in shown
    assert shown.count("/") >= text.count("//") and without_passwords(shown) == shown


def test_text_without_passwords_stays_as_it_is():
    for text in (
        "see https://example.org/a:b and c@d",
        "sqlite:///study.db",
        "2:1 at 12:30",
        "a: b@c",
        "postgresql://ann@db/x",
    ):
        assert without_passwords(text) == text


@pytest.mark.parametrize("kind", [UserError, RuntimeError])
def test_errors_of_commands_show_no_password_and_no_escape(kind, monkeypatch, capsys):
    def main() -> int:
        raise kind("cannot reach postgresql://ann:hunter2@db/x \x1b[2J")

    monkeypatch.setattr(sys, "argv", ["x"])
    with pytest.raises(SystemExit) as ended:
        command(main, name="x")
    shown = capsys.readouterr().err
    assert ended.value.code == (2 if kind is UserError else 1)
    assert "postgresql://ann:***@db/x" in shown and "hunter2" not in shown and "\x1b" not in shown
    assert ("Traceback" in shown) == (kind is RuntimeError)


def test_hidden_characters_are_written_out():
    assert for_terminal("a\x1b]0;x\x07\r\u202eb\x9b\n\tc") == "a\\x1b]0;x\\x07\\r\\u202eb\\x9b\n\tc"
