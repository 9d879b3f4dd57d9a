DROP TABLE audit_log;
DROP TABLE access_list;
DROP TABLE api_keys;
