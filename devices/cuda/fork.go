package cuda

import (
	"errors"

	"github.com/trit-ml/trit/devices/cuda/internal/driver"
)

// record queues works in order on the stream in capture. Those with an until
// run on the queue's side stream, which forks off where they stand and joins
// before the work of that index. The caller has the context current.
func (q *queue) record(works []work, until []int) (err error) {
	api := q.d.api
	var edges []driver.Event
	defer func() {
		for _, e := range edges {
			err = errors.Join(err, api.DestroyEvent(e)) // the graph keeps the edge
		}
	}()
	after := func(from, to driver.Stream) error {
		e, err := api.NewEdge()
		if err != nil {
			return err
		}
		edges = append(edges, e)
		if err := api.Record(e, from); err != nil {
			return err
		}
		return api.Wait(to, e)
	}
	wait := -1 // the first work that waits for the side stream
	for i := 0; i < len(works); {
		if i == wait {
			if err := after(q.side, q.stream); err != nil {
				return err
			}
			wait = -1
		}
		if until[i] == 0 {
			if err := works[i].enqueue(q.stream); err != nil {
				return err
			}
			i++
			continue
		}
		if q.side == 0 {
			if q.side, err = api.NewStream(); err != nil {
				return err
			}
		}
		if err := after(q.stream, q.side); err != nil {
			return err
		}
		n := 0
		for n < len(works)-i && until[i+n] > 0 && i+n != wait {
			if wait < 0 || until[i+n] < wait {
				wait = until[i+n]
			}
			n++
		}
		if err := together(works[i:i+n], q.side); err != nil {
			return err
		}
		i += n
	}
	if wait >= 0 {
		return after(q.side, q.stream)
	}
	return nil
}
