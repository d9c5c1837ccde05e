package engine
import ("testing";"context";"os";"strconv";"fmt";"github.com/trit-ml/trit/devices/auto";"github.com/trit-ml/trit/models/bitnet158";"github.com/trit-ml/trit/graph")
func TestZZ(t *testing.T){
 th,_:=strconv.Atoi(os.Getenv("ZZ")); if th==0{t.Skip()}
 cfg,_:=bitnet158.Preset("2b4t"); cfg.Layers=3; cfg.Vocab=512
 m,_:=Synthetic(cfg,1)
 dev,_,err:=auto.Open(auto.Options{Name:"auto",Threads:th}); if err!=nil{t.Fatal(err)}
 e,err:=m.Start(context.Background(),dev,Shape{Context:3400,Cache:graph.F16}); if err!=nil{t.Fatal(err)}
 ts,err:=e.Profile(context.Background(),Decode(1,3072,1),2000); if err!=nil{t.Fatal(err)}
 for _,s:=range ByKernel(ts)[:3]{fmt.Println(s.Kernel,s.Time/3)}
}
