PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE builds (
                    id TEXT PRIMARY KEY, image TEXT NOT NULL, repo_url TEXT NOT NULL, sha TEXT NOT NULL,
                    started_at REAL NOT NULL, ended_at REAL, status TEXT NOT NULL DEFAULT '',
                    code TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT ''
                ) WITHOUT ROWID
                ;
INSERT INTO "builds" VALUES('build-1','binderlet/i-owner-2drepo-5c9a05:1479e0252b2e648bb755ee913292b79495931717','https://github.test/owner/repo','1479e0252b2e648bb755ee913292b79495931717',1800000000.0,1800000090.0,'success','','');
CREATE TABLE launches (
                    id TEXT PRIMARY KEY, provider TEXT NOT NULL, spec TEXT NOT NULL, started_at REAL NOT NULL,
                    ended_at REAL, status TEXT NOT NULL DEFAULT '', code TEXT NOT NULL DEFAULT '',
                    message TEXT NOT NULL DEFAULT '', repo_url TEXT NOT NULL DEFAULT '', sha TEXT NOT NULL DEFAULT '',
                    session_id TEXT NOT NULL DEFAULT '', built INTEGER NOT NULL DEFAULT 0,
                    build_only INTEGER NOT NULL DEFAULT 0, phase_seconds TEXT NOT NULL DEFAULT '{}'
                ) WITHOUT ROWID
                ;
INSERT INTO "launches" VALUES('launch-1','gh','owner/repo/HEAD',1800000000.0,1800000005.0,'success','','','https://github.test/owner/repo','1479e0252b2e648bb755ee913292b79495931717','owner-repo-abcdefgh1234',1,0,'{"resolve": 0.1, "start": 2.0, "route": 0.5}');
INSERT INTO "launches" VALUES('launch-2','zenodo','10.5281/zenodo.1',1800000000.0,NULL,'','','','','','',0,0,'{}');
INSERT INTO "launches" VALUES('launch-3','gh','owner/repo/HEAD',1800000000.0,1800000005.0,'failure','ref_not_found','Kein «ref» ü.','','','owner-repo-abcdefgh1234',1,0,'{"resolve": 0.1, "start": 2.0, "route": 0.5}');
CREATE TABLE sessions (
                    id TEXT PRIMARY KEY, launch_id TEXT NOT NULL, provider TEXT NOT NULL, spec TEXT NOT NULL,
                    repo_url TEXT NOT NULL, image TEXT NOT NULL, started_at REAL NOT NULL, answered_at REAL,
                    ended_at REAL, reason TEXT NOT NULL DEFAULT '', exit_code INTEGER
                ) WITHOUT ROWID
                ;
INSERT INTO "sessions" VALUES('owner-repo-abcdefgh1234','launch-1','gh','owner/repo/HEAD','https://github.test/owner/repo','binderlet/i-owner-2drepo-5c9a05:1479e0252b2e648bb755ee913292b79495931717',1000.0,1001.2,1060.0,'culled: idle',NULL);
INSERT INTO "sessions" VALUES('still-runs','launch-1','gh','owner/repo/HEAD','https://github.test/owner/repo','binderlet/i-owner-2drepo-5c9a05:1479e0252b2e648bb755ee913292b79495931717',1000.0,1001.2,NULL,'',NULL);
CREATE INDEX launches_started_at ON launches (started_at);
CREATE INDEX builds_started_at ON builds (started_at);
CREATE INDEX sessions_started_at ON sessions (started_at);
COMMIT;
