"""Exit status 0 when the SuperLink answers over TLS."""

import ssl
import urllib.request

trust = ssl.create_default_context(cafile="/coordinator/ca.crt")
direct = urllib.request.build_opener(
    urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
)
direct.open("https://127.0.0.1:8000/health", timeout=5)
