-- A file as the software of schema 1 left it.
BEGIN TRANSACTION;
CREATE TABLE banks (
	id INTEGER NOT NULL,
	craft VARCHAR NOT NULL,
	epoch VARCHAR NOT NULL,
	revision INTEGER NOT NULL,
	digest VARCHAR NOT NULL,
	prompts BLOB NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (craft, epoch, revision)
);
CREATE TABLE cases (
	id INTEGER NOT NULL,
	craft VARCHAR NOT NULL,
	case_id VARCHAR NOT NULL,
	payload_sha256 VARCHAR NOT NULL,
	case_json VARCHAR NOT NULL,
	received_at_s DOUBLE NOT NULL,
	state VARCHAR NOT NULL,
	reason VARCHAR NOT NULL,
	confidence DOUBLE,
	PRIMARY KEY (id),
	UNIQUE (craft, case_id)
);
CREATE TABLE crafts (
	name VARCHAR NOT NULL,
	public_key_z85 VARCHAR NOT NULL,
	enrolled_at_s DOUBLE NOT NULL,
	is_revoked BOOLEAN NOT NULL,
	space_id VARCHAR,
	variant VARCHAR,
	labels_json VARCHAR NOT NULL,
	PRIMARY KEY (name),
	UNIQUE (public_key_z85)
);
INSERT INTO "crafts" VALUES('uav1','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',1.0,0,'space','fp32','["Car"]');
CREATE TABLE fleet_prompts (
	prompt_id VARCHAR NOT NULL,
	prompt BLOB NOT NULL,
	PRIMARY KEY (prompt_id)
);
CREATE TABLE interpretations (
	id INTEGER NOT NULL,
	craft VARCHAR NOT NULL,
	case_id VARCHAR NOT NULL,
	"by" VARCHAR NOT NULL,
	interpretation_json VARCHAR NOT NULL,
	is_delivered BOOLEAN NOT NULL,
	PRIMARY KEY (id),
	UNIQUE (craft, case_id, "by")
);
CREATE TABLE reviews (
	id INTEGER NOT NULL,
	craft VARCHAR NOT NULL,
	case_id VARCHAR NOT NULL,
	label VARCHAR NOT NULL,
	boxes_json VARCHAR NOT NULL,
	scope VARCHAR NOT NULL,
	reviewer VARCHAR NOT NULL,
	made_at_s DOUBLE NOT NULL,
	state VARCHAR NOT NULL,
	reason VARCHAR NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "reviews" VALUES(1,'uav1','abababababababababababababababab','debris','[[1.0, 2.0, 30.0, 40.0]]','craft','ann',3.0,'done','');
CREATE TABLE revoked_prompts (
	prompt_id VARCHAR NOT NULL,
	revoked_at_s DOUBLE NOT NULL,
	PRIMARY KEY (prompt_id)
);
INSERT INTO "revoked_prompts" VALUES('teacher-1',2.0);
CREATE INDEX ix_cases_case_id ON cases (case_id);
CREATE INDEX ix_cases_state ON cases (state);
CREATE INDEX ix_interpretations_is_delivered ON interpretations (is_delivered);
CREATE INDEX ix_interpretations_craft ON interpretations (craft);
CREATE INDEX ix_banks_craft ON banks (craft);
CREATE INDEX ix_reviews_state ON reviews (state);
COMMIT;
PRAGMA user_version = 1;
