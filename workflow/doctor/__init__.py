"""What a build needs, checked before it starts.

- ``checklist``: checks and how they are printed.
- ``machine``: disk, memory, open files, versions.
- ``sign_in``: which way to sign in fits this machine.
- ``doctor``: all checks.
"""
