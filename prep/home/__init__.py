"""The home (`HF_HOME` of every consumer): its layout, receipts, ledger and file locks."""
