"""Cinder's scheduler without a process: pure functions over plain data, no I/O.

``pools`` and ``reports`` read the backends' reports, ``request_spec`` the request, ``config`` the settings;
``filter_scheduler`` decides by ``filters`` and ``weighers``, and a ``decision`` gives the reasons.
"""
