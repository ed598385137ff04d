"""The REST API of an exchange as a server answers it: parameters, errors, order, shapes and limits.

There is no source of rows and no HTTP here. ``sample/api_server.py`` answers from files of the archive,
``api/binance_routes.py`` from a lake; ``rows.py`` says what they have in common. How the API is asked is in ``rest/``.
"""
