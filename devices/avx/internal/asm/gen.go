package asm

//go:generate go -C _asm run ./ternary -pkg asm -out ../ternary_amd64.s -stubs ../ternary_decl_amd64.go
//go:generate go -C _asm run ./vector -pkg asm -out ../vector_amd64.s -stubs ../vector_decl_amd64.go
//go:generate go -C _asm run ./dot -pkg asm -out ../dot_amd64.s -stubs ../dot_decl_amd64.go
//go:generate go -C _asm run ./sgemm -pkg asm -out ../sgemm_amd64.s -stubs ../sgemm_decl_amd64.go
//go:generate go -C _asm run ./peak -pkg asm -out ../peak_amd64.s -stubs ../peak_decl_amd64.go
//go:generate go -C _asm run ./screen -pkg asm -out ../screen_amd64.s -stubs ../screen_decl_amd64.go
//go:generate go -C _asm run ./heads -pkg asm -out ../heads_amd64.s -stubs ../heads_decl_amd64.go
//go:generate go -C _asm run ./cols -pkg asm -out ../cols_amd64.s -stubs ../cols_decl_amd64.go
//go:generate go -C _asm run ./codes -pkg asm -out ../codes_amd64.s -stubs ../codes_decl_amd64.go
//go:generate go -C _asm run ./groups -pkg asm -out ../groups_amd64.s -stubs ../groups_decl_amd64.go
//go:generate go -C _asm run ./rows -pkg asm -out ../rows_amd64.s -stubs ../rows_decl_amd64.go
//go:generate go -C _asm run ./batch -pkg asm -out ../batch_amd64.s -stubs ../batch_decl_amd64.go
//go:generate go -C _asm run ./stubs -out ../stubs_none.go ../ternary_decl_amd64.go ../vector_decl_amd64.go ../dot_decl_amd64.go ../sgemm_decl_amd64.go ../peak_decl_amd64.go ../screen_decl_amd64.go ../heads_decl_amd64.go ../cols_decl_amd64.go ../codes_decl_amd64.go ../groups_decl_amd64.go ../rows_decl_amd64.go ../batch_decl_amd64.go
