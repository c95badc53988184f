"""Any pydantic model as a form."""
