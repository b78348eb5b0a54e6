"""Reports: one page with plots about a run, and the records of days that the plots use."""

from powergrid.report.records import DayRecord, load_record, record_day, record_days, save_record
from powergrid.report.write import write_report

__all__ = ["DayRecord", "load_record", "record_day", "record_days", "save_record", "write_report"]
