SET foreign_key_checks = 0;
CREATE TABLE `fine_tuning_job_errors` (
  `job_id` varchar(255) NOT NULL,
  `code` longtext DEFAULT NULL,
  `message` longtext DEFAULT NULL,
  `param` longtext DEFAULT NULL,
  `extra` longtext DEFAULT NULL,
  PRIMARY KEY (`job_id`),
  CONSTRAINT `fk_fine_tuning_job_errors_job_id` FOREIGN KEY (`job_id`) REFERENCES `fine_tuning_jobs` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
INSERT INTO `fine_tuning_job_errors` VALUES ('2024_02_failed','invalid_training_file','The job failed due to an invalid training file. Line 42: key \'messages\' is missing. ','training_file',NULL);
INSERT INTO `fine_tuning_job_errors` VALUES ('2024_12_dpo_failed','invalid_training_file','Example 3 has no \'preferred_output\'','training_file',NULL);
INSERT INTO `fine_tuning_job_errors` VALUES ('2024_12_failed_too_few_examples','invalid_n_examples','Training file has 4 example(s), but must have at least 10 examples','training_file',NULL);
INSERT INTO `fine_tuning_job_errors` VALUES ('2025_09_failed','deleted_training_file','The job failed because the training file was deleted','training_file',NULL);
INSERT INTO `fine_tuning_job_errors` VALUES ('failed_after_its_model_was_made','safety_evaluation_failed','The fine-tuned model did not pass the safety evaluation.',NULL,'{\"details\":{\"categories\":[\"chemistry\"],\"score\":0.8125}}');
INSERT INTO `fine_tuning_job_errors` VALUES ('reinforcement_multi_grader_label_model','safety_evaluation_failed','The grader\'s model is not available',NULL,NULL);
CREATE TABLE `fine_tuning_job_hyperparameters` (
  `job_id` varchar(255) NOT NULL,
  `n_epochs` bigint(20) DEFAULT NULL,
  `batch_size` bigint(20) DEFAULT NULL,
  `learning_rate_multiplier` double DEFAULT NULL,
  `beta` double DEFAULT NULL,
  `compute_multiplier` double DEFAULT NULL,
  `eval_interval` bigint(20) DEFAULT NULL,
  `eval_samples` bigint(20) DEFAULT NULL,
  `reasoning_effort` varchar(64) DEFAULT NULL,
  `extra` longtext DEFAULT NULL,
  PRIMARY KEY (`job_id`),
  CONSTRAINT `fk_fine_tuning_job_hyperparameters_job_id` FOREIGN KEY (`job_id`) REFERENCES `fine_tuning_jobs` (`id`) ON DELETE CASCADE,
  CONSTRAINT `ck_fine_tuning_job_hyperparameters_n_epochs` CHECK (`n_epochs` = -1 or `n_epochs` > 0),
  CONSTRAINT `ck_fine_tuning_job_hyperparameters_batch_size` CHECK (`batch_size` = -1 or `batch_size` > 0),
  CONSTRAINT `ck_fine_tuning_job_hyperparameters_learning_rate_multiplier` CHECK (`learning_rate_multiplier` = -1 or `learning_rate_multiplier` > 0),
  CONSTRAINT `ck_fine_tuning_job_hyperparameters_beta` CHECK (`beta` = -1 or `beta` > 0),
  CONSTRAINT `ck_fine_tuning_job_hyperparameters_compute_multiplier` CHECK (`compute_multiplier` = -1 or `compute_multiplier` > 0),
  CONSTRAINT `ck_fine_tuning_job_hyperparameters_eval_interval` CHECK (`eval_interval` = -1 or `eval_interval` > 0),
  CONSTRAINT `ck_fine_tuning_job_hyperparameters_eval_samples` CHECK (`eval_samples` = -1 or `eval_samples` > 0)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2023_08_cancelled',7,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2023_08_created',4,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2023_10_queued',6,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2023_10_running',8,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2023_10_succeeded',8,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2023_10_validating_files',-1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2023_11_three_hyperparameters',-1,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2024_02_error_of_four_nulls',2,4,0.5,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2024_02_failed',-1,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2024_08_succeeded_with_suffix',2,3,1.6,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2024_10_error_empty',-1,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2024_12_dpo_failed',-1,-1,-1,-1,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2024_12_failed_too_few_examples',-1,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2024_12_running',5,2,1.8,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2025_04_wandb_run_id',2,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2025_05_succeeded_as_documented',6,1,1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2025_09_cancelled',2,8,2.5,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2025_09_failed',-1,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2025_09_succeeded',3,1,2,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2025_09_validating_files',-1,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('2025_10_queued_with_metadata',-1,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('azure_cancelled',2,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('azure_live_nulls',-1,-1,2,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('azure_live_succeeded',3,1,2,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('azure_pending_sparse',-1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('azure_succeeded',-1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('batch_size_null',2,NULL,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('documented_dpo',-1,-1,-1,0.25,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('documented_estimated_finish_zero',3,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('documented_paused',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('documented_resumed',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('documented_wandb',-1,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('failed_after_its_model_was_made',3,8,0.3,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('floats_for_whole_numbers',4,1,2,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('hyperparameters_no_column_holds',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'{\"n_epochs\":2.5,\"batch_size\":0,\"learning_rate_multiplier\":\"many\"}');
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('litellm_unified_file_id',-1,-1,-1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('method_without_block',2,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('method_without_type',1,NULL,NULL,2,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('other_method',1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('pausing',4,4,0.1,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('reinforcement_multi_grader_label_model',-1,-1,-1,NULL,-1,-1,-1,'default',NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('reinforcement_multi_grader_map',-1,-1,-1,NULL,-1,-1,-1,'default',NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('reinforcement_python_grader',2,16,1,NULL,0.75,5,3,'high',NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('reinforcement_string_check',-1,-1,-1,NULL,-1,-1,-1,'default',NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('reinforcement_text_similarity',-1,-1,-1,NULL,-1,-1,-1,'default',NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('reinforcement_with_usage',2,16,1,NULL,0.75,5,3,'high',NULL);
INSERT INTO `fine_tuning_job_hyperparameters` VALUES ('unknown_members',2,4,1.5,NULL,NULL,NULL,NULL,NULL,'{\"lora_rank\":16,\"optimizer\":{\"name\":\"adamw\",\"betas\":[0.9,0.999]}}');
CREATE TABLE `fine_tuning_job_metadata` (
  `job_id` varchar(255) NOT NULL,
  `key` varchar(64) NOT NULL,
  `value` varchar(512) NOT NULL,
  `digest` bigint(20) NOT NULL,
  `organization_id` varchar(128) NOT NULL,
  `created_at` bigint(20) NOT NULL,
  PRIMARY KEY (`job_id`,`key`),
  KEY `ix_fine_tuning_job_metadata_pair` (`digest`,`created_at`,`job_id`),
  KEY `ix_fine_tuning_job_metadata_organization_pair` (`organization_id`,`digest`,`created_at`,`job_id`),
  CONSTRAINT `fk_fine_tuning_job_metadata_job_id` FOREIGN KEY (`job_id`) REFERENCES `fine_tuning_jobs` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','','the empty key',-2722113174748930466,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','emoji 🧪','naïve 𝔘',4529203675607545215,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-00','value 0',1151027945569498808,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-01','value 37',-7180785396069278216,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-02','value 74',-8384629020698810566,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-03','value 111',-6044888912468547740,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-04','value 148',7843048646307081061,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-05','value 185',-764601460854947406,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-06','value 222',-4810219340562391968,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-07','value 259',-767110825216189365,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-08','value 296',3032279757533372542,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-09','value 333',4657251745678760506,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','key-10','value 370',-3356808904658948836,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','note','',2231470819718340123,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','quote\"s','back\\slash \'n\' \"more\"',3466050513677904033,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
INSERT INTO `fine_tuning_job_metadata` VALUES ('2025_10_queued_with_metadata','team','search',-2965738165458820866,'org-Ii4If58KdTSBl8xS6xU2uk46',1760001234);
CREATE TABLE `fine_tuning_job_result_files` (
  `job_id` varchar(255) NOT NULL,
  `position` bigint(20) NOT NULL,
  `file_id` varchar(512) NOT NULL,
  PRIMARY KEY (`job_id`,`position`),
  CONSTRAINT `fk_fine_tuning_job_result_files_job_id` FOREIGN KEY (`job_id`) REFERENCES `fine_tuning_jobs` (`id`) ON DELETE CASCADE
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
INSERT INTO `fine_tuning_job_result_files` VALUES ('2023_10_succeeded',0,'file-6OUmbXzY3eXwYD9bG56ToaA2');
INSERT INTO `fine_tuning_job_result_files` VALUES ('2024_08_succeeded_with_suffix',0,'file-8rDiU2I2MJeWeZsKYzX7sMjq');
INSERT INTO `fine_tuning_job_result_files` VALUES ('2024_08_succeeded_with_suffix',1,'file-dfbc7wxZugdJFsqX2kC3E3iO');
INSERT INTO `fine_tuning_job_result_files` VALUES ('2025_05_succeeded_as_documented',0,'file-WR9IDTMywhIYoE1qzWPy0o');
INSERT INTO `fine_tuning_job_result_files` VALUES ('2025_09_succeeded',0,'file-q1fIyBb1oHvaO9otvzFYdx');
INSERT INTO `fine_tuning_job_result_files` VALUES ('azure_live_succeeded',0,'file-8805be9ceda33c16cafb2d9e7816b48a');
INSERT INTO `fine_tuning_job_result_files` VALUES ('azure_succeeded',0,'file-d8ba16bb58e45474677049ee00e35714');
INSERT INTO `fine_tuning_job_result_files` VALUES ('failed_after_its_model_was_made',0,'file-Ix8Dj4y7wPolwxLDI8ZJuj');
INSERT INTO `fine_tuning_job_result_files` VALUES ('reinforcement_with_usage',0,'file-XKQLwAdHQ3EcSTcHhnL4FB');
CREATE TABLE `fine_tuning_jobs` (
  `id` varchar(255) NOT NULL,
  `organization_id` varchar(128) NOT NULL,
  `created_at` bigint(20) NOT NULL,
  `status` varchar(32) NOT NULL,
  `finished_at` bigint(20) DEFAULT NULL,
  `model` varchar(512) NOT NULL,
  `fine_tuned_model` varchar(512) DEFAULT NULL,
  `training_file` varchar(512) NOT NULL,
  `validation_file` varchar(512) DEFAULT NULL,
  `trained_tokens` bigint(20) DEFAULT NULL,
  `seed` bigint(20) DEFAULT NULL,
  `suffix` varchar(512) DEFAULT NULL,
  `estimated_finish` bigint(20) DEFAULT NULL,
  `shared_with_openai` tinyint(1) DEFAULT NULL,
  `eval_id` varchar(255) DEFAULT NULL,
  `method_type` varchar(64) DEFAULT NULL,
  `method_grader` longtext DEFAULT NULL,
  `method_response_format` longtext DEFAULT NULL,
  `method_extra` longtext DEFAULT NULL,
  `integrations` longtext DEFAULT NULL,
  `usage_metrics` longtext DEFAULT NULL,
  `extra` longtext DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `ix_fine_tuning_jobs_created_at` (`created_at`,`id`),
  KEY `ix_fine_tuning_jobs_status` (`status`,`created_at`,`id`),
  KEY `ix_fine_tuning_jobs_model` (`model`(255),`created_at`,`id`),
  KEY `ix_fine_tuning_jobs_method_type` (`method_type`,`created_at`,`id`),
  KEY `ix_fine_tuning_jobs_fine_tuned_model` (`fine_tuned_model`(255),`created_at`,`id`),
  KEY `ix_fine_tuning_jobs_training_file` (`training_file`(255),`created_at`,`id`),
  KEY `ix_fine_tuning_jobs_organization` (`organization_id`,`created_at`,`id`),
  KEY `ix_fine_tuning_jobs_organization_status` (`organization_id`,`status`,`created_at`,`id`),
  KEY `ix_fine_tuning_jobs_organization_model` (`organization_id`,`model`(255),`created_at`,`id`),
  KEY `ix_fine_tuning_jobs_organization_method_type` (`organization_id`,`method_type`,`created_at`,`id`),
  CONSTRAINT `ck_fine_tuning_jobs_status` CHECK (`status` in ('validating_files','queued','running','paused','succeeded','failed','cancelled')),
  CONSTRAINT `ck_fine_tuning_jobs_finished_at` CHECK (`finished_at` is null or `status` in ('succeeded','failed','cancelled'))
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
INSERT INTO `fine_tuning_jobs` VALUES ('2023_08_cancelled','org-yl9F6sn23DSp8kVzjliKE1Qu',1693012208,'cancelled',NULL,'gpt-3.5-turbo-0613',NULL,'file-fhQNB9reosfhypnXLDn8S9wP','file-tWR6zqlIKiUBKnCfK2vuAiSD',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2023_08_created','org-q8STZHE6svi34zWH8xMS9BMo',1692963411,'validating_files',NULL,'gpt-3.5-turbo-0613',NULL,'file-XOJrLo8F2nXMzqQdgCWwDllJ',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2023_10_queued','org-YxWDsU78E9kcE3oEJJ8X1o95',1698702215,'queued',NULL,'gpt-3.5-turbo-0613',NULL,'file-85yMa6Fv4ngcVnSOgsR8uQYu',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2023_10_running','org-So2IeJKfLjG7A0nIQoCWVGPq',1698703918,'running',NULL,'babbage-002',NULL,'file-bQTh4DPcT850bhhhpwdmnu4L',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2023_10_succeeded','org-lphD1Cu5LrH9lMnFDOpdJvar',1698705020,'succeeded',1698706333,'gpt-3.5-turbo-0613','ft:gpt-3.5-turbo-0613:personal::EqCI9jsl','file-wItsjk5inSjV5o3BDqGsC5IH',NULL,9312,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2023_10_validating_files','org-PBTrbEpvpDbnIIAp00zKLMcy',1698700107,'validating_files',NULL,'gpt-3.5-turbo-0613',NULL,'file-KHKi7M07QbbStdd8AgdmX2sa',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2023_11_three_hyperparameters','org-5BVI18Ao4eSfi67KClDVwQB9',1700041977,'validating_files',NULL,'gpt-3.5-turbo-0613',NULL,'file-e6k8wmSwk81zG4ExeBt876Ir',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2024_02_error_of_four_nulls','org-cZWHUWNo41jlMihenXkVzlZq',1708899311,'running',NULL,'gpt-3.5-turbo-0613',NULL,'file-rE2nd2eCO2X0WUUmIbuJnG5H',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2024_02_failed','org-cSD652OvHjHFFbp48WEXJC7Z',1708811220,'failed',NULL,'gpt-3.5-turbo-0613',NULL,'file-cRZCh96hExzIpIQftca4svm9',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2024_08_succeeded_with_suffix','org-L2Yfx1DxOZpl9CmOrkDtQiKo',1724011005,'succeeded',1724012790,'gpt-4o-mini-2024-07-18','ft:gpt-4o-mini-2024-07-18:personal:tickets:lLB43jU3','file-yCvEU9259XxebXDCchuV0DuN','file-6bftOZ1lIJMF7RvwVs2qEKbQ',240118,2147483646,'support-tickets',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2024_10_error_empty','org-PQnbGi9gKVHijEUfw80MecQe',1729012443,'validating_files',NULL,'gpt-4o-2024-08-06',NULL,'file-pt5afS7bvMp3jfcD8uzhNN3K',NULL,NULL,885203945,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2024_12_dpo_failed','org-2fpphY3y5dixNYjqaLo57fTR',1734700219,'failed',NULL,'gpt-4o-2024-08-06',NULL,'file-psOs5J6BOvPM5lh92U5p08sa',NULL,NULL,185255588,NULL,NULL,NULL,NULL,'dpo',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2024_12_failed_too_few_examples','org-vbxPEEUlVQxH8G5RmMkSsRHd',1735390808,'failed',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-9MRHONf216qhYmDQIOFsYVMg',NULL,NULL,1303247047,NULL,NULL,NULL,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2024_12_running','org-kGkVGuBsXJ6dfVw75x5ElzLi',1735391910,'running',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-IWusm0QWlDH3mjry9IwG5J73',NULL,NULL,903485170,NULL,NULL,NULL,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2025_04_wandb_run_id','org-Fw5F98hrD9ug1SLGXuXwvYhw',1745902214,'validating_files',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-1prf2bMghpglV1FGdlTjgiOF','file-lkRfNwyHAEVS9QqDHP9pnZ',NULL,7,'bot-7',NULL,NULL,NULL,'supervised',NULL,NULL,NULL,'[{\"type\":\"wandb\",\"wandb\":{\"project\":\"support-bot\",\"name\":null,\"entity\":null,\"tags\":null,\"run_id\":\"ftjob-0VZw2pLhVJs2OReYItvoV7QH\"}}]',NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2025_05_succeeded_as_documented','org-VafyQgMZZo8o21XiHiLjkNqH',1746590021,'succeeded',1746591555,'gpt-4.1-mini-2025-04-14','ft:gpt-4.1-mini-2025-04-14:initech::z1XGxr6F','file-AU9LkZ0jJT2byjBfYsfIG4S0',NULL,3120,1620335191,NULL,NULL,0,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2025_09_cancelled','org-2ofDyNs7figUlqWQUuMKT4fO',1758903544,'cancelled',NULL,'gpt-3.5-turbo-0125',NULL,'file-REMdkI2GXyozTSrWg3Jb4v','file-tHioyrTGMElnmjbGMNNeoO',NULL,424242,'invoice-reader',NULL,0,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2025_09_failed','org-rX33f1uwvqx6i9wLrvNYCSy0',1758904020,'failed',NULL,'gpt-3.5-turbo-0125',NULL,'file-2IzE88Up6urCHPMhqQc3KX',NULL,NULL,2109175882,NULL,NULL,0,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2025_09_succeeded','org-9ofsPFnxnmOQm3IzOwKAUxGL',1758811000,'succeeded',1758811940,'gpt-3.5-turbo-0125','ft:gpt-3.5-turbo-0125:initech::QIWxmBG8','file-FNPPkbPiARD87QbtmTXkHU',NULL,7644,1731234001,NULL,NULL,0,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2025_09_validating_files','org-6DuK7gnu5KowrMJz5lWoz8BW',1758903107,'validating_files',NULL,'gpt-3.5-turbo-0125',NULL,'file-pVdSVh5tKCbPWYEaKkyTwb',NULL,NULL,1026241839,NULL,NULL,0,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('2025_10_queued_with_metadata','org-Ii4If58KdTSBl8xS6xU2uk46',1760001234,'queued',NULL,'gpt-3.5-turbo-0125',NULL,'file-UA7YEFCvEolG0kNwQCiC33',NULL,NULL,1349235166,NULL,NULL,0,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('azure_cancelled','org-golden',1756920000,'cancelled',1756920044,'gpt-4.1-mini-2025-04-14',NULL,'file-18d7354324ff71800142c8a60d9f7253','file-3ef1954113e6a6678a98121a400cbcfc',NULL,105,'claims',1756901180,NULL,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,'{\"trainingType\":\"GlobalStandard\"}');
INSERT INTO `fine_tuning_jobs` VALUES ('azure_live_nulls','org-golden',1756900100,'queued',NULL,'gpt-4.1-mini-2025-04-14',NULL,'file-579a563326573537cae9ebf29d1b9e14','file-28d3a375d65e7a32bddfe6e48cfe128b',NULL,105,NULL,1756901180,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('azure_live_succeeded','org-golden',1756910000,'succeeded',1756913333,'gpt-4.1-mini-2025-04-14','gpt-4.1-mini-2025-04-14.ft-f73dc8abd1e274685eb6237331301905-support','file-6eb233cd7997c576ac8bc0d9c8ac5755','file-66ab7e3f68719640380c0ab16760b9d0',5000,105,'support',1756911080,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('azure_pending_sparse','org-golden',1646300501,'queued',NULL,'davinci',NULL,'file-d932c3d9ee0cb65854572ab136891581',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[{\"type\":\"wandb\",\"wandb\":{\"project\":\"lineage-project\",\"tags\":[\"lineage\",\"project:invoices\"]}}]',NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('azure_succeeded','org-golden',1646300502,'succeeded',1646304988,'davinci','davinci.ft-645a1ba5cee2db578877ed87b0941be5','file-d932c3d9ee0cb65854572ab136891581',NULL,5118,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'[{\"type\":\"wandb\",\"wandb\":{\"project\":\"lineage-project\",\"tags\":[\"lineage\",\"project:invoices\"]}}]',NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('batch_size_null','org-456',1747300000,'queued',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,NULL,NULL,NULL,NULL,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('documented_dpo','org-456',1731764800,'queued',NULL,'gpt-4o-mini',NULL,'file-xyz789','file-xyz456',NULL,1520093321,NULL,NULL,0,NULL,'dpo',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('documented_estimated_finish_zero','org-456',1731764800,'running',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,0,NULL,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('documented_paused','org-456',1731764800,'paused',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('documented_resumed','org-456',1731765000,'queued',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('documented_wandb','org-456',1731764800,'queued',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,NULL,NULL,NULL,NULL,NULL,'supervised',NULL,NULL,NULL,'[{\"type\":\"wandb\",\"wandb\":{\"project\":\"docs-project\",\"entity\":null,\"run_id\":\"ftjob-hdo247\"}}]',NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('failed_after_its_model_was_made','org-dwOw6Ncbx8Kr8GoQObFkspdb',1759000500,'failed',1759009000,'gpt-4.1-2025-04-14','ft:gpt-4.1-2025-04-14:initech:chem:BfvLw3Zo','file-O6O8Pm8De7emwHGcU4GMXI',NULL,880341,2144111655,'chem',NULL,0,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('floats_for_whole_numbers','org-456',1692661014,'succeeded',1692661190,'gpt-4o-mini-2024-07-18','ft:gpt-3.5-turbo-0613:initech::VHXndYSh','file-xyz789','file-xyz456',5768,3,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('hyperparameters_no_column_holds','org-456',1780000000,'queued',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('litellm_unified_file_id','org-dwDOX72ICaLyPPxiOpx9IO92',1742000333,'validating_files',NULL,'gpt-4o-mini-2024-07-18',NULL,'bGl0ZWxsbV9wcm94eTphcHBsaWNhdGlvbi9vY3RldC1zdHJlYW07dW5pZmllZF9pZCwwYzQ1YjQ5YS03ZGIxLTRjNDUtYTA0NC03NWZmY2FjNzk0ZTY7dGFyZ2V0X21vZGVsX25hbWVzLGdwdC00by1taW5pLW9wZW5haTtsbG1fb3V0cHV0X2ZpbGVfaWQsZmlsZS1NcjBsUXpYSTA3bjFiTkdjeE10YjJkMmw7bGxtX291dHB1dF9maWxlX21vZGVsX2lkLGJjZGVmYWRiNDZkNDE1OTJhZGQ0NzI1MTE0NmMxNGQ3ZTQ0NTMxODg2NjgyMjhhMDczYzUyOTFmY2ViM2ZlNmI',NULL,NULL,1078069065,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('method_without_block','org-456',1734567899,'queued',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,NULL,NULL,NULL,NULL,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('method_without_type','org-456',1734567890,'queued',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,NULL,NULL,NULL,NULL,NULL,'dpo',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('other_method','org-456',1770000000,'queued',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,NULL,NULL,NULL,NULL,NULL,'lora',NULL,NULL,'{\"lora\":{\"rank\":8}}',NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('pausing','org-456',1731764800,'running',NULL,'gpt-4o-mini-2024-07-18',NULL,'file-xyz789','file-xyz456',NULL,NULL,NULL,NULL,NULL,NULL,'supervised',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('reinforcement_multi_grader_label_model','org-mYz0cDYPxkKEzI6kStgrlJ3b',1751115555,'failed',NULL,'o4-mini-2025-04-16',NULL,'file-JXj0OqwLvulX9LjDi8vZ1G',NULL,NULL,1220614439,NULL,NULL,0,NULL,'reinforcement','{\"type\":\"multi\",\"name\":\"combined\",\"graders\":{\"refusal\":{\"type\":\"label_model\",\"name\":\"refusal\",\"model\":\"gpt-4o-mini\",\"input\":[{\"role\":\"user\",\"content\":\"{{sample.output_text}}\"}],\"labels\":[\"refuses\",\"answers\"],\"passing_labels\":[\"answers\"]}},\"calculate_output\":\"refusal\"}',NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('reinforcement_multi_grader_map','org-RVX7Ocnjo7ZVqT4BKMGOxSWX',1751112223,'paused',NULL,'o4-mini-2025-04-16',NULL,'file-aC3b9LgzI4tzuJokxPXSUU',NULL,NULL,1323843982,NULL,NULL,0,NULL,'reinforcement','{\"type\":\"multi\",\"graders\":{\"city\":{\"type\":\"string_check\",\"name\":\"Same city\",\"input\":\"{{sample.output_json.city}}\",\"reference\":\"{{item.city}}\",\"operation\":\"ilike\"},\"tone\":{\"type\":\"score_model\",\"name\":\"tone\",\"model\":\"gpt-4o-2024-08-06\",\"input\":[{\"role\":\"system\",\"content\":\"Rate how polite this is, 0 to 1.\"},{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"{{sample.output_text}}\"}]}],\"range\":[0,1.5],\"sampling_params\":{\"seed\":11,\"top_p\":0.95,\"temperature\":0.0,\"max_completions_tokens\":64,\"reasoning_effort\":null}},\"both\":{\"type\":\"multi\",\"name\":\"inner\",\"graders\":{\"type\":\"text_similarity\",\"name\":\"Close summary\",\"input\":\"{{sample.output_text}}\",\"reference\":\"{{item.summary}}\",\"evaluation_metric\":\"rouge_l\"},\"calculate_output\":\"inner\"}},\"calculate_output\":\"0.5 * city + 0.5 * tone\"}',NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('reinforcement_python_grader','org-sIOwoiS94IC1jsJhDe1oLQes',1750011090,'running',NULL,'o4-mini-2025-04-16',NULL,'file-CJay5xRsUAeqGGQQa0mF25',NULL,NULL,1860652938,NULL,NULL,0,'eval_844e8cd7747cbaddbf96fb0a3edd6f5b','reinforcement','{\"type\":\"python\",\"name\":\"length\",\"source\":\"def grade(sample, item):\\n\\treturn 1.0 if len(sample[\\\"output_text\\\"]) < 80 else 0.25\\n\",\"image_tag\":\"2025-05-08\"}',NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('reinforcement_string_check','org-eD9nZxbrKn2b2WRQC400sAz6',1746712000,'validating_files',NULL,'o4-mini-2025-04-16',NULL,'file-T56RB8WMCIkPgAGYNxcTeb',NULL,NULL,497628897,NULL,NULL,0,NULL,'reinforcement','{\"type\":\"string_check\",\"name\":\"Same city\",\"input\":\"{{sample.output_json.city}}\",\"reference\":\"{{item.city}}\",\"operation\":\"ilike\"}','{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"place\",\"strict\":true,\"schema\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\",\"enum\":[\"Graz\",\"Łódź\",\"東京\"]},\"people\":{\"type\":[\"integer\",\"null\"]}},\"required\":[\"city\"],\"additionalProperties\":false}}}',NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('reinforcement_text_similarity','org-9P6VGKVYbomOhFIHmA91Q0Qi',1750000411,'queued',NULL,'o4-mini-2025-04-16',NULL,'file-22zBOZMn2UuQKVSzmir80s',NULL,NULL,1408412857,NULL,NULL,0,NULL,'reinforcement','{\"type\":\"text_similarity\",\"name\":\"Close summary\",\"input\":\"{{sample.output_text}}\",\"reference\":\"{{item.summary}}\",\"evaluation_metric\":\"rouge_l\"}',NULL,NULL,NULL,NULL,NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('reinforcement_with_usage','org-RnG7JhOi2kxhXZf0F7KkZiwo',1752000077,'succeeded',1752030123,'o4-mini-2025-04-16','ft:o4-mini-2025-04-16:initech:polite:yvfw0khe','file-WLIDpjYbSMDRv0ZABoqkTT',NULL,NULL,257647498,'polite',NULL,1,'eval_c44b4262b2a62d636a3a98edd0c3b7a3','reinforcement','{\"type\":\"score_model\",\"name\":\"tone\",\"model\":\"gpt-4o-2024-08-06\",\"input\":[{\"role\":\"system\",\"content\":\"Rate how polite this is, 0 to 1.\"},{\"role\":\"user\",\"content\":[{\"type\":\"input_text\",\"text\":\"{{sample.output_text}}\"}]}],\"range\":[0,1.5],\"sampling_params\":{\"seed\":11,\"top_p\":0.95,\"temperature\":0.0,\"max_completions_tokens\":64,\"reasoning_effort\":null}}',NULL,NULL,NULL,'{\"train_time_seconds\":14402.125,\"model_graders_token_usage\":{\"gpt-4o-2024-08-06\":{\"train_prompt_tokens\":240118,\"train_completion_tokens\":9917,\"eval_cached_tokens\":null}},\"stages\":[{\"name\":\"warm-up\",\"loss\":1.25e-05},{\"name\":\"main\",\"loss\":3.0517578125e-05}]}',NULL);
INSERT INTO `fine_tuning_jobs` VALUES ('unknown_members','org-zD0S2hMhMOJ8NQBWwqppdGGS',1790000000,'running',NULL,'gpt-3.5-turbo-0125',NULL,'file-E7GobCETAsiF3bJJFKElJ3',NULL,NULL,1291836828,NULL,NULL,0,NULL,'supervised',NULL,NULL,'{\"revision\":3,\"supervised\":{\"packing\":true}}','[{\"type\":\"mlflow\",\"mlflow\":{\"experiment\":\"exp 9\",\"nested\":[[]]}}]',NULL,'{\"project_id\":\"proj_iW8sZ8k2SUS8QiblUSgIdY5I\",\"updated_at\":1790000100,\"service_tier\":null,\"queue\":{\"position\":4,\"ahead\":[\"ftjob-a\",\"ftjob-b\"],\"eta\":12.5},\"größe 📏\":[1,\"two\",null,{\"three\":3.0}]}');
CREATE TABLE `fine_tuning_store_compatibility` (
  `id` smallint(6) NOT NULL,
  `schema_number` smallint(6) NOT NULL,
  `oldest_code_number` smallint(6) NOT NULL,
  PRIMARY KEY (`id`),
  CONSTRAINT `ck_fine_tuning_store_compatibility_one_row` CHECK (`id` = 1)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin;
INSERT INTO `fine_tuning_store_compatibility` VALUES (1,1,1);
CREATE TABLE `fine_tuning_store_version` (
  `version_num` varchar(32) NOT NULL,
  PRIMARY KEY (`version_num`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
INSERT INTO `fine_tuning_store_version` VALUES ('fine_tuning_store_0001');
