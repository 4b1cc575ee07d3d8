; A boot sector that sets a video mode and draws with the BIOS: text, pixels, or banks of a VBE mode.
; nasm -f bin -DMODE=0x13 vga_modes.asm; VBE modes from 0x100 on.
        org 0x7C00
        bits 16
start:  cli
        xor ax, ax
        mov ds, ax
        mov ss, ax
        mov sp, 0x7C00
        sti
%if MODE >= 0x100
        mov ax, 0x4F02
        mov bx, MODE
        int 0x10
        cmp ax, 0x004F
        jne stop
        mov si, 0               ; The bank.
banks:  mov ax, 0x4F05
        xor bx, bx
        mov dx, si
        int 0x10
        mov ax, 0xA000
        mov es, ax
        xor di, di
fill:   mov ax, di
        shr ax, 3
        add ax, di
        imul bx, si, 37
        add ax, bx
        mov [es:di], al
        inc di
        jnz fill
        inc si
        cmp si, 4
        jne banks
%else
        mov ax, MODE
        int 0x10
        mov ax, 0x0100          ; No cursor.
        mov cx, 0x2000
        int 0x10
 %if MODE <= 3 || MODE == 7
        xor si, si              ; All characters, in all colours.
next:   mov ax, si
        mov ah, 0x09
        mov bx, si
        xor bh, bh
        and bl, 0x7F            ; Nothing that blinks.
        mov cx, 1
        int 0x10
        inc si
        mov ax, si
        mov dx, si
        mov cl, 5
        shr dx, cl
        mov dh, dl              ; Row: number / 32.
        mov dl, al
        and dl, 31
        mov ah, 0x02
        xor bh, bh
        int 0x10
        cmp si, 256
        jne next
 %else
        mov dx, 0               ; A pattern of pixels, and a line of text over it.
row:    mov cx, 0
pixel:  mov ax, cx
        add ax, dx
        xor ax, cx
        mov ah, 0x0C
        xor bh, bh
        int 0x10
        inc cx
        cmp cx, 160
        jne pixel
        inc dx
        cmp dx, 100
        jne row
        mov si, text
char:   lodsb
        or al, al
        jz stop
        mov ah, 0x0E
        mov bx, 0x0007
        int 0x10
        jmp char
text:   db "Calque", 13, 10, 0
 %endif
%endif
stop:   mov al, 'D'             ; Done: on the debug console.
        out 0xE9, al
        cli
halt:   hlt
        jmp halt
        times 510 - ($ - $$) db 0
        dw 0xAA55
