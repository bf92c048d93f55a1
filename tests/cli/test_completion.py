import pytest

from vitkit.cli.main import main


@pytest.mark.parametrize("arguments", [["--print_completion"], ["--print_completion", "fish"], ["--print_completion=x"]])
def test_only_known_shells(arguments, capsys):
    assert main(arguments) == 2
    assert "expected one of bash, zsh, tcsh" in capsys.readouterr().err


def test_without_shtab_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr("vitkit.cli.completion.find_spec", lambda _: None)
    assert main(["--print_completion", "bash"]) == 2
    assert "pip install shtab" in capsys.readouterr().err


def test_the_script_completes_commands_and_their_options(monkeypatch, capsys):
    # One of Lightning's commands stands for all four: the parsers take seconds each.
    monkeypatch.setattr("vitkit.cli.completion.TRAINING", {"fit": ""})
    assert main(["--print_completion", "bash"]) == 0
    script = capsys.readouterr().out
    words = {name: values.strip("()").split() for name, _, values in (line.partition("=") for line in script.splitlines())}
    assert {"fit", "evaluate", "ls", "report"} <= set(words["_shtab_vitkit_subparsers"])
    assert {"--model.lr", "--data", "--trainer.max_epochs", "--ckpt_path"} <= set(words["_shtab_vitkit_fit_option_strings"])
