"""The public methods of ``Lakehouse``, a module for each subject: signatures and documentation, no work."""
