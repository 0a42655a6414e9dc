from .jsondecoding import JsonDecoder as JsonDecoder
