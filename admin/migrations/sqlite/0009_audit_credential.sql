-- With what somebody showed who acts. Where it is not there, a PAT or an API key that is named says it; of other entries from before
-- nothing is known.
ALTER TABLE audit ADD COLUMN actor_credential TEXT;
