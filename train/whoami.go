package train

import (
	"fmt"
	"os"
	"time"
)

// whoami is what this process tells others about itself in the run's lock.
func whoami() string {
	host, err := os.Hostname()
	if err != nil {
		host = "an unnamed host"
	}
	return fmt.Sprintf("process %d on %s since %s", os.Getpid(), host, time.Now().Format(time.DateTime))
}
