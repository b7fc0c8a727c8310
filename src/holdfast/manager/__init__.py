"""The manager: collects what backup servers do, and has them do what people ask for."""
