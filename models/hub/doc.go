// Package hub fetches models from the Hugging Face hub, or a server that speaks
// its protocol, into the cache that the huggingface_hub library for Python uses,
// so that both find each other's files.
//
//	client, err := hub.New()                          // from HF_TOKEN, HF_HOME, …
//	ref, err := hub.ParseRef("OWNER/REPO")            // or OWNER/REPO:FILE.gguf
//	plan, err := client.Plan(ctx, ref)                // what there is, and its size
//	head, err := plan.Head(ctx, plan.Main(), 1<<20)   // refuse the model here
//	path, err := client.Pull(ctx, plan)               // the folder or file to open
//
// Files are named by what they contain and checked against it: SHA-256 for large
// files, Git's SHA-1 for the rest. A download that was cut off goes on where it
// ended, also in another process; file locks keep processes from disturbing each
// other. The token is sent to the hub only, never to the hosts that it redirects to.
//
// Protocol: https://huggingface.co/docs/hub/api and the library
// https://github.com/huggingface/huggingface_hub (file_download.py).
// Cache: https://huggingface.co/docs/huggingface_hub/guides/manage-cache
package hub
