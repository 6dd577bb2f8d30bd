-- SQLite keeps no dead versions: there is nothing to sweep here.
SELECT 1;
