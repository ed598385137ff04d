"""The endpoints of ``/v1``, a module for each subject. Each checks the scope and calls one method of ``Lakehouse``."""
