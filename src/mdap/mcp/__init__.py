"""A server of the Model Context Protocol: mdap for any client. A way in; it decides nothing by itself."""
