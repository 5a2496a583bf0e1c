"""HTTP: requests, workers, quotas, faults, tokens. ``python -m dwplus.local_ee.server`` starts it.

- ``pixels``, ``thumbnails``, ``map_tiles``, ``assets``: what is answered.
- ``pending_downloads``: images that were named and not yet fetched.
- ``profiling``: compute, as the service reports it.
- ``worker``: processes that evaluate.
- ``quotas``, ``faults``, ``latency``, ``tokens``: how the service behaves.
- ``request_log``: what was requested.
- ``releases_http``: label archives over HTTP.
- ``routes``: which request means what.
- ``strangers``: whose connection it is.
- ``handler``: HTTP itself.
- ``__main__``: the process.
"""
