"""Nothing that was pickled is ever opened, and no text is ever run: the source is read to see that it stays so."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("search", "objectives", "trainers")
#: Modules that unpickle or run what they are given.
FORBIDDEN = ("cloudpickle", "dill", "joblib", "marshal", "shelve", "jsonpickle", "yaml", "code", "runpy")
#: Only for the errors that a file of tensors raises when it is none.
MAY_IMPORT_PICKLE = {"trainers/models/inception.py", "objectives/_inception.py"}
BUILTINS = ("eval", "exec", "compile", "__import__")
CALLS = ("read_pickle", "to_pickle", "load_dataset", "load_module")


def name_of(call: ast.expr) -> str:
    """The last part of what is called: ``load`` of ``torch.load``."""
    return call.attr if isinstance(call, ast.Attribute) else call.id if isinstance(call, ast.Name) else ""


def owner_of(call: ast.expr) -> str:
    return name_of(call.value) if isinstance(call, ast.Attribute) else ""


def keywords(call: ast.Call) -> dict[str | None, object]:
    return {word.arg: getattr(word.value, "value", word.value) for word in call.keywords}


def faults(path: str, tree: ast.AST) -> list[str]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"imports {name}" for name in names if name.split(".")[0] in FORBIDDEN]
            if path not in MAY_IMPORT_PICKLE:
                found += [f"imports {name}" for name in names if name.split(".")[0] in ("pickle", "_pickle")]
        if isinstance(node, ast.Attribute) and owner_of(node) == "pickle" and node.attr != "UnpicklingError":
            found.append(f"uses pickle.{node.attr}")
        if not isinstance(node, ast.Call):
            continue
        called, owner, words = name_of(node.func), owner_of(node.func), keywords(node)
        # A network has a method ``eval``, too.
        if called in CALLS or (called in BUILTINS and isinstance(node.func, ast.Name)):
            found.append(f"calls {called}")
        if (owner, called) == ("torch", "load") and words.get("weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if owner in ("np", "numpy") and called == "load" and words.get("allow_pickle", False) is not False:
            found.append("numpy.load with allow_pickle")
        if called == "from_pretrained" and words.get("use_safetensors") is not True:
            found.append("from_pretrained without use_safetensors=True")
        if called == "YAML" and words.get("typ", "rt") not in ("safe", "rt"):
            found.append("a YAML reader that makes objects")
        if called == "from_pretrained" and words.get("local_files_only") is not True:
            found.append("from_pretrained that fetches")
        if words.get("trust_remote_code") not in (None, False) or words.get("shell") not in (None, False):
            found.append("runs what it is given")
    return found


def test_source_opens_no_pickle_and_runs_no_text():
    files = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    assert len(files) > 200
    found = {
        str(path.relative_to(ROOT)): wrong
        for path in files
        if (wrong := faults(str(path.relative_to(ROOT)), ast.parse(path.read_text())))
    }
    assert found == {}


def test_each_way_to_unpickle_is_found():
    for text in (
        "import pickle",
        "from joblib import load",
        "pickle.loads(x)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "np.load(x, allow_pickle=True)",
        "pandas.read_pickle(x)",
        "Net.from_pretrained(x, local_files_only=True)",
        "Net.from_pretrained(x, use_safetensors=True)",
        "datasets.load_dataset(x, trust_remote_code=True)",
        "eval(x)",
        "YAML(typ='unsafe')",
        "subprocess.run(x, shell=True)",
    ):
        assert faults("search/new.py", ast.parse(text)), text
    assert faults("search/new.py", ast.parse("torch.load(x, weights_only=True); re.compile(y)")) == []
