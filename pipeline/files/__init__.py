"""Bytes on disk and at URLs.

- ``paths``: paths that come from elsewhere; those that leave their folder are refused.
- ``walk``: files below a folder, links followed.
- ``atomic``: files that are complete or absent; JSON; hashes.
- ``locks``: one writer at a time.
- ``remote``: files at URLs, and how a URL is shown.
- ``checksums``: what is read is what was written.
- ``records``: JSON documents, read as dataclasses.
- ``downloads``: large files over HTTP, resumed where they were interrupted.
- ``archives``: safe unpacking, with a record of every member.
"""
