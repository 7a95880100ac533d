SELECT dateDiff('second', complete_to, now64(3)) AS behind,
    toUnixTimestamp64Milli(complete_to) AS `complete to`
FROM ${database}.complete_to
