from .windowing import WindowTable as WindowTable
