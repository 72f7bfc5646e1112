//! Usage records, their fold into billing windows, price sheets and reports.
