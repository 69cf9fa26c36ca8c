# The guest's boot sector: 16 bit code for BIOS that loads kernel and initrd in pieces of 127 sectors and jumps to Linux.
#   as --32 -o boot.o boot.s; ld -m elf_i386 -Ttext=0x7c00 --oformat binary -o boot.bin boot.o; xxd -p boot.bin > boot.hex
# `dap_count` and what stands at `table` are filled in by ../bootloader.py.
# Sources: Documentation/x86/boot.rst of the Linux kernel; INT 13h AH=42h (EDD); INT 15h AH=87h.
    .code16
    .text
start:
    cli
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %ss
    mov $0x7c00, %sp
    sti
    cld
    mov %dl, drive
    call read                      # setup code and command line, to 0x90000
    mov $table, %di
segment:
    mov (%di), %cx                 # chunks of 127 sectors; 0 ends the table
    jcxz go
    mov 2(%di), %eax
    mov %eax, dap_lba
    mov 6(%di), %eax
    mov %eax, target
    movw $127, dap_count
    movl $0x10000000, dap_buffer   # 0x1000:0
    add $10, %di
chunk:
    push %cx
    call read
    mov target, %eax
    mov %ax, gdt + 0x1a
    shr $16, %eax
    mov %al, gdt + 0x1c
    mov %ah, gdt + 0x1f
    mov $gdt, %si
    mov $(127 * 256), %cx          # words
    mov $0x87, %ah                 # move to extended memory
    int $0x15
    jc failed
    addl $(127 * 512), target
    addl $127, dap_lba
    pop %cx
    loop chunk
    jmp segment
go:
    cli
    mov $0x9000, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov $0x9000, %sp
    ljmp $0x9020, $0
read:
    mov $dap, %si
    mov $0x42, %ah
    mov drive, %dl
    int $0x13
    jc failed
    ret
failed:
    mov $0x0e21, %ax               # "!"
    xor %bx, %bx
    int $0x10
halt:
    hlt
    jmp halt
drive:
    .byte 0
target:
    .long 0
gdt:
    .quad 0, 0
    .word 0xffff, 0x0000
    .byte 0x01, 0x93, 0, 0         # from 0x10000
    .word 0xffff, 0x0000
    .byte 0x10, 0x93, 0, 0
    .quad 0, 0
dap:
    .byte 16, 0
dap_count:
    .word 0                        # sectors of setup and command line
dap_buffer:
    .long 0x90000000               # 0x9000:0
dap_lba:
    .long 1, 0
    .balign 2
table:
