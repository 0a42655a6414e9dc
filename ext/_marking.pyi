import polars as pl
import pyarrow as pa

def watermarks(times: pl.Series, newest: int, disorder: int) -> tuple[pa.Array, int]: ...
