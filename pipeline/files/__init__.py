"""Bytes on disk and at URLs.

- ``atomic``: files that are complete or absent; JSON; hashes.
- ``remote``: files at URLs, read like paths.
- ``downloads``: large files over HTTP, resumed where they were interrupted.
- ``archives``: safe unpacking, with a record of every member.
"""
