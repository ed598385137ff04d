"""Archives of the exchanges: listing, downloading, verifying and unzipping, a sample archive and a server for it.

There is one source protocol (``model.py``) and one module per exchange. ``transforms`` parses the CSV files.
"""
