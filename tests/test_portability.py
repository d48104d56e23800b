"""What the package takes for granted of the system: nothing that only POSIX systems have."""

POSIX_ONLY = "crypt fcntl grp nis ossaudiodev posix pty pwd readline resource spwd syslog termios tty"


def test_every_module_imports_where_there_are_no_posix_modules(python):
    failures = python(
        f"""
        import builtins, importlib, json, pkgutil, sys

        hidden, real = set("{POSIX_ONLY}".split()), builtins.__import__

        def as_on_windows(name, globals=None, *rest, **options):
            # Other packages have their own ways on each system; what they import here is theirs.
            if name in hidden and (globals or {{}}).get("__name__", "").startswith("curriculum_zoo"):
                raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)
            return real(name, globals, *rest, **options)

        builtins.__import__ = as_on_windows
        import curriculum_zoo

        failures, modules = [], [m.name for m in pkgutil.walk_packages(curriculum_zoo.__path__, "curriculum_zoo.")]
        for name in modules:
            if name.endswith("__main__"):
                continue
            try:
                importlib.import_module(name)
            except ImportError as error:
                failures.append(f"{{name}}: {{error}}")
        assert len(modules) > 100, modules
        print(json.dumps(failures))
        """
    )
    assert failures == []
