from .records import RecordPlan as RecordPlan
from .records import RecordReader as RecordReader
from .records import RecordWriter as RecordWriter
from .records import call_each as call_each
from .records import install_constructor as install_constructor
from .records import install_replace as install_replace
